"""Data sets without torch: `paths` says which, `formats` reads them, `coco` makes arrays, `pictures` makes pixels."""
