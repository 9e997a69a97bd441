"""What training minimizes: which prediction learns which object, and the losses."""
