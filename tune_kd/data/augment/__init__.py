"""What an augmentation does to pictures: a function each.

It gets floats from 0 to 255, (images, channels, height, width), and `chance(k)`: its k-th number in [0, 1) for each
image.
"""
