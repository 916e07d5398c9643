package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
)

// programs are what the distribution's packages bring; cniPlugins is where they put those of CNI.
var programs = []string{"containerd", "containerd-shim-runc-v2", "ctr", "runc", "nft", "iptables", "conntrack", "mount"}

const cniPlugins = "/usr/lib/cni"

// runOutside makes the namespaces and what of the host belongs to them, and waits for their end.
func runOutside(args []string) error {
	s, err := parse(args)
	if err != nil {
		return err
	}
	if err := checkHost(); err != nil {
		return err
	}
	for _, dir := range []string{s.dataDir, s.path("logs"), s.path("node")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make data directory: %w", err)
		}
	}
	lock, err := lockNode(s)
	if err != nil {
		return err
	}
	defer lock.Close()
	cgroup := cgroupName(s.dataDir)
	// After a kill they are still there.
	if err := removeCgroups(cgroup); err != nil {
		return fmt.Errorf("remove the cgroups of an earlier run: %w", err)
	}
	if err := makeCgroups(cgroup); err != nil {
		return fmt.Errorf("make cgroups: %w", err)
	}
	err = runNamespaces(s, args)
	return errors.Join(err, removeCgroups(cgroup))
}

// runNamespaces starts the first process of new namespaces, gives it a link to the host, and waits for
// its end.
func runNamespaces(s *settings, args []string) error {
	// Written to when the network is there, closed when that has failed.
	goReader, goWriter, err := os.Pipe()
	if err != nil {
		return err
	}
	child := exec.Command("/proc/self/exe", append([]string{initRole}, args...)...)
	child.Args[0] = os.Args[0]
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	child.ExtraFiles = []*os.File{goReader}
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC,
		// Whoever kills this process means all of them.
		Pdeathsig: syscall.SIGKILL,
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	if err := child.Start(); err != nil {
		return fmt.Errorf("make namespaces: %w", err)
	}
	_ = goReader.Close()
	go func() {
		for received := range signals {
			_ = child.Process.Signal(received)
		}
	}()
	address, err := linkToHost(s, child.Process.Pid)
	if err != nil {
		_ = goWriter.Close()
		return errors.Join(fmt.Errorf("link the node's network to the host: %w", err), child.Process.Kill(), ignoreExit(child.Wait()))
	}
	_, err = fmt.Fprintln(goWriter, address)
	return errors.Join(err, goWriter.Close(), ended("the node", child.Wait()))
}

// checkHost says all that is missing at once.
func checkHost() error {
	if os.Geteuid() != 0 {
		return errors.New("a real node needs root: its containers, mounts and network are made by it")
	}
	var missing []string
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, program)
		}
	}
	if _, err := os.Stat(cniPlugins + "/bridge"); err != nil {
		missing = append(missing, cniPlugins+"/bridge")
	}
	if len(missing) > 0 {
		return fmt.Errorf("missing for a real node: %s; `make e2e-deps` installs them on Debian, where they are in the packages containerd, runc, containernetworking-plugins, nftables, iptables and conntrack", strings.Join(missing, ", "))
	}
	return nil
}

// lockNode makes sure that no second node runs on the same data: its cgroups would be taken away.
func lockNode(s *settings) (*os.File, error) {
	lock, err := os.OpenFile(s.path("node", "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, &endedError{name: fmt.Sprintf("another node runs on `%s`", s.dataDir), code: 3}
	}
	return lock, nil
}
