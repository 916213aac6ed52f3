"""What runs inside an image: standard library only, Python 3.7 or later."""
