"""The links that the GPUs of one host share: switches, roots, sockets, memory, and what each of them carries."""

from vdnnsim.topology.files import list_topologies, load_topology, read_topology
from vdnnsim.topology.topology import Most, SharedLink, Topology

__all__ = ["Most", "SharedLink", "Topology", "list_topologies", "load_topology", "read_topology"]
