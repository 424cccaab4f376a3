"""What a picture says of its making: written into PNG, JPEG and WebP, and read back from them. Nothing here needs torch.

`write.encode` turns a picture and its facts into the bytes of a file, as a `Provenance` asks; `read.read` tells what a file says.
docs/en/provenance.md has what goes where, and which standard asks for it.
"""
