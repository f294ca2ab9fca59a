"""What many runs say together: read from their folders, compared where they can be, and priced."""
