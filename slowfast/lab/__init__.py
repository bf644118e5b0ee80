"""Tools around the framework that no run imports: benchmarks, ablations, the rendered sample."""
