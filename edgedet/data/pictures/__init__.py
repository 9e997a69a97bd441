"""From an image file to the pixels of the network: headers, decoding, the one preprocessing; drawing on pictures."""
