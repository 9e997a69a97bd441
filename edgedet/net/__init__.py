"""Torch modules of the RTMDet family: CSPNeXt backbone, PAFPN neck, SepBN head."""
