"""Use outside of the workflow: trained heads as models, the data in the released layout, scores of own images."""
