"""Annotation formats of all makers, each read into `annotations.Annotations`, and where a folder keeps them."""
