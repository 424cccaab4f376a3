"""HTTP: what comes in is handed to `serving`, what comes out is put in the API's shape. No logic."""
