"""python -m inkwash, and accelerate launch -m inkwash."""

from inkwash.cli.main import main

if __name__ == "__main__":
    main()
