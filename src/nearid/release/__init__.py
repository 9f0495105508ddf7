"""What people take along: trained heads as models, the data in the released layout, scores of their own images."""
