"""What many tests share: small networks, synthetic traces, plain renderings, an independent checker of runs."""
