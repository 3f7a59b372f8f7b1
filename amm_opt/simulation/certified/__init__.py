"""What the boxes of a run on a certified network model are good for: certificates, bands, orders at the head."""
