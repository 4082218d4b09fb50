"""Reading and writing files without running anything that is in them."""
