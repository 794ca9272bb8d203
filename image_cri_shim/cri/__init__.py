"""The CRI proxy: everything that speaks gRPC, on asyncio."""
