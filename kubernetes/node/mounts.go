package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// kept maps directories, at their ordinary paths, to where the data directory keeps them over restarts.
var kept = map[string]string{
	"/var/lib/containerd": "containerd",
	"/var/lib/kubelet":    "kubelet",
	"/var/lib/cni":        "cni",
	"/var/log/pods":       "pod-logs",
}

// fresh are directories that begin empty with each start.
var fresh = []string{"/run", "/etc/cni", "/var/log/containers"}

// shadowed are settings of the whole kernel that the kubelet sets. It sets files instead that stand in
// their place, so that the host's stay as they are. (component-helpers, node/util/sysctl)
var shadowed = []string{
	"vm/overcommit_memory",
	"vm/panic_on_oom",
	"kernel/panic",
	"kernel/panic_on_oops",
	"kernel/keys/root_maxkeys",
	"kernel/keys/root_maxbytes",
}

// mountAll gives the node's mount namespace what a machine of its own would have.
func mountAll(s *settings) error {
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	// Processes of these namespaces only.
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount `/proc`: %w", err)
	}
	for path, name := range kept {
		if err := bind(s.path("node", name), path); err != nil {
			return err
		}
	}
	for _, path := range fresh {
		if err := errors.Join(makeDir(path), unix.Mount("tmpfs", path, "tmpfs", 0, "mode=0755")); err != nil {
			return fmt.Errorf("mount `%s`: %w", path, err)
		}
	}
	for _, setting := range shadowed {
		if err := shadow(setting); err != nil {
			return fmt.Errorf("cover the kernel's setting `%s`: %w", setting, err)
		}
	}
	return nil
}

func bind(from, to string) error {
	if err := errors.Join(os.MkdirAll(from, 0o711), makeDir(to), unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, "")); err != nil {
		return fmt.Errorf("mount `%s` on `%s`: %w", from, to, err)
	}
	return nil
}

// makeDir makes a mount point where the host has none. An empty directory stays on the host.
func makeDir(path string) error { return os.MkdirAll(path, 0o755) }

func shadow(setting string) error {
	file := filepath.Join("/proc/sys", setting)
	value, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	copied := filepath.Join("/run/korder/sysctl", setting)
	if err := errors.Join(os.MkdirAll(filepath.Dir(copied), 0o755), os.WriteFile(copied, value, 0o644)); err != nil {
		return err
	}
	return unix.Mount(copied, file, "", unix.MS_BIND, "")
}
