"""Who is let in: keys and tokens, where keys are kept, and what each was used for. No HTTP here."""
