"""Episodes: one raw bag per demonstration, with its contract, its outcome and its losses."""
