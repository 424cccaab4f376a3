"""The server: the Images API over HTTP, a queue on disk, and one process that owns the device.

Layers, each knowing only those below: routes (HTTP, no logic), serving (logic, no HTTP), protocol (shapes of requests and answers), queue
and store (what is on disk). None of them imports torch; the worker does, in a process of its own.
"""
