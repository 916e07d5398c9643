// korder-node runs a Kubernetes of one real node: the control plane beside this program, and with it
// containerd, kubelet, kube-proxy and CoreDNS, so that pods are real containers.
//
// All of it lives in namespaces of its own (processes, mounts, network). The kernel ends and unmounts
// what is in there with the first process of the namespaces, however that dies; nothing is bound,
// mounted, routed or set on the host but one end of a veth pair, which goes with the namespaces too.
// Only directories of cgroups outlive them; they are removed at the end and, after a kill, by the next
// start.
//
// It speaks to its parent as korder-controlplane does: it runs as long as its standard input is open,
// and one line of JSON on standard output says that the node is ready. Needed are root, containerd,
// runc, the CNI plugins and nft on the host.
//
// Three kinds of processes are this program: the one outside the namespaces (host.go), the first one
// inside (init.go), which starts and supervises the rest (node.go), and kubelet and kube-proxy
// themselves (components.go).
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// settings are the command line.
type settings struct {
	dataDir       string
	controlPlane  string
	coreDNS       string
	registry      string
	cpuManager    string
	images        list
	labels        list
	port          int
	unsafeNoFsync bool
}

// nodeName is the name of the Node, which is also its host name label.
const nodeName = "korder-node"

// path names a file in the data directory.
func (s *settings) path(elem ...string) string {
	return filepath.Join(append([]string{s.dataDir}, elem...)...)
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

// Set adds a value.
func (l *list) Set(value string) error {
	*l = append(*l, value)
	return nil
}

func main() {
	role := ""
	if len(os.Args) > 1 {
		role = os.Args[1]
	}
	var err error
	switch role {
	case initRole:
		err = runInit(os.Args[2:])
	case nodeRole:
		err = runInside(os.Args[2:])
	case kubeletRole, kubeProxyRole:
		os.Exit(runComponent(role, os.Args[2:]))
	default:
		err = runOutside(os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "korder-node:", err)
		os.Exit(exitCode(err))
	}
}

// exitCode hands on how a process below this one ended, whose codes the parent knows.
func exitCode(err error) int {
	var ended *endedError
	if errors.As(err, &ended) && ended.code > 0 {
		return ended.code
	}
	return 1
}

func parse(args []string) (*settings, error) {
	s := &settings{}
	flags := flag.NewFlagSet("korder-node", flag.ContinueOnError)
	flags.StringVar(&s.dataDir, "data-dir", "", "directory of all state, made if missing")
	flags.StringVar(&s.controlPlane, "controlplane", "", "the program korder-controlplane")
	flags.StringVar(&s.coreDNS, "coredns", "", "the program coredns")
	flags.StringVar(&s.registry, "registry", "", "the program registry")
	flags.StringVar(&s.cpuManager, "cpu-manager", "none", "the kubelet's CPU manager policy, `none` or `static`")
	flags.Var(&s.labels, "label", "`KEY=VALUE`, repeatable: a label of the Node when it is made")
	flags.Var(&s.images, "image", "an image archive that the node shall have, repeatable")
	flags.IntVar(&s.port, "port", 0, "port of the API server; 0 is the one used last, or else any that is free")
	flags.BoolVar(&s.unsafeNoFsync, "unsafe-no-fsync", false, "do not wait for the disk: for tests, whose state may be lost with the machine")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	for name, value := range map[string]string{"data-dir": s.dataDir, "controlplane": s.controlPlane, "coredns": s.coreDNS, "registry": s.registry} {
		if !filepath.IsAbs(value) {
			return nil, fmt.Errorf("`-%s` must be an absolute path", name)
		}
	}
	return s, nil
}
