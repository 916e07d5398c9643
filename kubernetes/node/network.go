package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The node's link to the host takes a subnet of four addresses out of a range that nobody routes: it
// is set aside for measuring network devices (RFC 2544).
const (
	linkPrefix  = "198.18."
	linkSubnets = 256
	linkMask    = 30
	hostEnd     = 1
	nodeEnd     = 2
)

// nodeInterface is the name of the node's end.
const nodeInterface = "eth0"

// linkToHost connects the network of the process `pid` with the host's by a veth pair, and returns the
// node's address. The subnet stays the same over restarts where it is still free.
func linkToHost(s *settings, pid int) (net.IP, error) {
	subnet, err := addLink(s, pid)
	if err != nil {
		return nil, err
	}
	name := linkName(subnet)
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, err
	}
	if err := netlink.AddrAdd(link, linkAddress(subnet, hostEnd)); err != nil {
		return nil, fmt.Errorf("give `%s` its address: %w", name, err)
	}
	return linkAddress(subnet, nodeEnd).IP, netlink.LinkSetUp(link)
}

// addLink makes the veth pair, named after its subnet. Where another node starts at the same time, the
// first to make the link has the subnet.
func addLink(s *settings, pid int) (int, error) {
	for range linkSubnets {
		subnet, err := chooseSubnet(s.path("node", "subnet"))
		if err != nil {
			return 0, err
		}
		attributes := netlink.NewLinkAttrs()
		attributes.Name = linkName(subnet)
		pair := &netlink.Veth{LinkAttrs: attributes, PeerName: nodeInterface, PeerNamespace: netlink.NsPid(pid)}
		err = netlink.LinkAdd(pair)
		if err == nil {
			return subnet, nil
		}
		if !errors.Is(err, unix.EEXIST) {
			return 0, fmt.Errorf("add `%s`: %w", attributes.Name, err)
		}
	}
	return 0, errors.New("others take each subnet first")
}

func linkName(subnet int) string { return fmt.Sprintf("korder%d", subnet) }

// setUpNetwork readies the node's own network, which has a link to the host: all addresses are sent
// there, where nothing is forwarded. Without a default route no Service address would be reached.
func setUpNetwork(address string) error {
	ip := net.ParseIP(address).To4()
	if ip == nil {
		return fmt.Errorf("`%s` is no address", address)
	}
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	link, err := netlink.LinkByName(nodeInterface)
	if err != nil {
		return err
	}
	node := &netlink.Addr{IPNet: &net.IPNet{IP: ip, Mask: net.CIDRMask(linkMask, 32)}}
	host := net.IPv4(ip[0], ip[1], ip[2], hostEnd)
	if err := errors.Join(netlink.LinkSetUp(loopback), netlink.AddrAdd(link, node), netlink.LinkSetUp(link)); err != nil {
		return err
	}
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: host}); err != nil {
		return fmt.Errorf("add the default route: %w", err)
	}
	// This setting belongs to the network namespace.
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
}

// chooseSubnet takes the subnet that the file remembers, or the first that the host has no address
// in, and remembers it.
func chooseSubnet(file string) (int, error) {
	addresses, err := netlink.AddrList(nil, unix.AF_INET)
	if err != nil {
		return 0, err
	}
	taken := map[string]bool{}
	for _, address := range addresses {
		taken[address.IP.String()] = true
	}
	free := func(subnet int) bool {
		// A link without an address is another node's that is just starting.
		_, err := netlink.LinkByName(linkName(subnet))
		return err != nil && !taken[linkAddress(subnet, hostEnd).IP.String()]
	}
	if text, err := os.ReadFile(file); err == nil {
		var last int
		if _, err := fmt.Sscan(strings.TrimSpace(string(text)), &last); err == nil && last >= 0 && last < linkSubnets && free(last) {
			return last, nil
		}
	}
	for subnet := range linkSubnets {
		if free(subnet) {
			return subnet, os.WriteFile(file, fmt.Appendln(nil, subnet), 0o600)
		}
	}
	return 0, fmt.Errorf("the host has an address in each of the %d subnets of %s0.0/16", linkSubnets, linkPrefix)
}

func linkAddress(subnet, end int) *netlink.Addr {
	address, err := netlink.ParseAddr(fmt.Sprintf("%s%d.%d/%d", linkPrefix, subnet, end, linkMask))
	if err != nil {
		panic(err) // of constants and a small number
	}
	return address
}
