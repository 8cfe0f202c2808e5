"""Numba on the CPU: fused loops, SIMD lanes, threads, compiled once and cached on the disk."""
