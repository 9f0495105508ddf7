"""Use outside the workflow: trained heads as models, data in the released layout, scores of your own images."""
