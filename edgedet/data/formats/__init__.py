"""Other makers' annotation formats, each read into `edgedet.data.annotations.Annotations`, and written from a split."""
