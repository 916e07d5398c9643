package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// cgroupMount is where Linux distributions mount cgroups, and the kubelet expects them.
const cgroupMount = "/sys/fs/cgroup"

// How long the kernel may take to see that a cgroup's processes have gone, and how often to look.
const (
	cgroupTimeout  = 10 * time.Second
	cgroupInterval = 20 * time.Millisecond
)

// cgroupName is the cgroup below which all pods of the node with this data directory are.
func cgroupName(dataDir string) string {
	return fmt.Sprintf("korder-%x", sha256.Sum256([]byte(dataDir)))[:len("korder-")+12]
}

// hierarchies are the mounted trees of cgroups: one for each controller in version 1, else one.
func hierarchies() ([]string, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(cgroupMount, &stat); err != nil {
		return nil, fmt.Errorf("look at `%s`: %w", cgroupMount, err)
	}
	if stat.Type == unix.CGROUP2_SUPER_MAGIC {
		return []string{cgroupMount}, nil
	}
	entries, err := os.ReadDir(cgroupMount)
	if err != nil {
		return nil, err
	}
	var roots []string
	for _, entry := range entries {
		root := filepath.Join(cgroupMount, entry.Name())
		// Links name the same tree again.
		if entry.IsDir() && unix.Statfs(root, &stat) == nil && (stat.Type == unix.CGROUP_SUPER_MAGIC || stat.Type == unix.CGROUP2_SUPER_MAGIC) {
			roots = append(roots, root)
		}
	}
	return roots, nil
}

func makeCgroups(name string) error {
	roots, err := hierarchies()
	for _, root := range roots {
		err = errors.Join(err, os.MkdirAll(filepath.Join(root, name), 0o755))
	}
	return err
}

// removeCgroups removes the cgroup and all below it in each hierarchy.
func removeCgroups(name string) error {
	roots, err := hierarchies()
	for _, root := range roots {
		err = errors.Join(err, removeCgroup(filepath.Join(root, name)))
	}
	return err
}

func removeCgroup(root string) error {
	deadline := time.Now().Add(cgroupTimeout)
	for {
		err := removeTree(root)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		// Processes that were killed are still on their way out.
		time.Sleep(cgroupInterval)
	}
}

// removeTree removes directories only: the files in a cgroup go with it.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, entry := range entries {
		if entry.IsDir() {
			err = errors.Join(err, removeTree(filepath.Join(dir, entry.Name())))
		}
	}
	if err != nil {
		return err
	}
	if err := unix.Rmdir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove `%s`: %w", dir, err)
	}
	return nil
}
