"""Stage `data`: identities, views, masks, splits and the part-edit benchmark."""
