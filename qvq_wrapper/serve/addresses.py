"""Tells whether an IP address is one of the public internet."""

from __future__ import annotations

import ipaddress

_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052, 2.1


def is_public(address: str) -> bool:
    """Return whether the address is public, also if an IPv6 address holds one of IPv4.

    Gradio's own check lets 100.64.0.0/10 through, where some clouds keep their secrets.
    """
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or ip.teredo and ip.teredo[1]
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        ip = inner or ip
    return ip.is_global and not (ip.is_multicast or ip.is_reserved)
