"""Whether a candidate passes, and whether it replaces the champion: each gate, and what is known beforehand."""
