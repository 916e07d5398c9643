package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// How long the node may take to become ready, how often to look, and what programs get for ending.
const (
	readyTimeout  = 2 * time.Minute
	readyInterval = 50 * time.Millisecond
	stopTimeout   = 5 * time.Second
)

var errStopRequested = errors.New("stop requested")

// runInside starts all programs of the node inside the namespaces, and keeps them as long as the
// parent wants.
func runInside(args []string) error {
	s, err := parse(args)
	if err != nil {
		return err
	}
	address, err := bufio.NewReader(os.NewFile(3, "address")).ReadString('\n')
	if errors.Is(err, io.EOF) {
		return errors.New("there is no link to the host")
	}
	if err != nil {
		return err
	}
	address = strings.TrimSpace(address)
	if err := mountAll(s); err != nil {
		return err
	}
	if err := setUpNetwork(address); err != nil {
		return fmt.Errorf("set up the node's network: %w", err)
	}
	ctx, fail := context.WithCancelCause(context.Background())
	stopOnRequest(fail)
	err = serve(ctx, &children{s, fail}, address)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if errors.Is(err, errStopRequested) {
		return nil
	}
	return err
}

// stopOnRequest ends the node on a signal, and when whoever started it has gone.
func stopOnRequest(stop context.CancelCauseFunc) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		stop(errStopRequested)
	}()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop(errStopRequested)
	}()
}

// serve starts everything in the order of its needs, tells the parent, and stops it in the end.
func serve(ctx context.Context, c *children, address string) error {
	s := c.settings
	controlPlane, err := startControlPlane(c, address)
	if err != nil {
		return err
	}
	// What it has acknowledged is on disk then. The rest goes with the namespaces.
	defer func() { controlPlane.stop(stopTimeout) }()
	var readiness map[string]any
	ready, _ := errgroup.WithContext(ctx)
	ready.Go(func() error { return json.NewDecoder(controlPlane.stdout).Decode(&readiness) })
	ready.Go(func() error { return startContainerd(ctx, c) })
	ready.Go(func() error { return startRegistry(c) })
	if err := ready.Wait(); err != nil {
		return err
	}
	client, err := newClient(s.path("kubeconfig"))
	if err != nil {
		return err
	}
	if err := errors.Join(startKubelet(c, address), startKubeProxy(c), startDNS(ctx, c, client, address)); err != nil {
		return err
	}
	if err := waitReady(ctx, client); err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(readiness); err != nil {
		return fmt.Errorf("report readiness: %w", err)
	}
	<-ctx.Done()
	return nil
}

func startControlPlane(c *children, address string) (*child, error) {
	s := c.settings
	args := []string{"-data-dir=" + s.dataDir, "-node=" + nodeName, "-node-address=" + address, fmt.Sprintf("-port=%d", s.port)}
	if s.unsafeNoFsync {
		args = append(args, "-unsafe-no-fsync")
	}
	return c.start("control-plane", true, s.controlPlane, args...)
}

// waitReady returns when the Node is ready for pods.
func waitReady(ctx context.Context, client *kubernetes.Clientset) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		node, err := client.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
		if err == nil && isReady(node) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the node is not ready: %w", errors.Join(err, ctx.Err()))
		case <-time.After(readyInterval):
		}
	}
}

// isReady says whether the kubelet says so and the controllers have seen it.
func isReady(node *corev1.Node) bool {
	for _, taint := range node.Spec.Taints {
		if taint.Key == corev1.TaintNodeNotReady {
			return false
		}
	}
	for _, condition := range node.Status.Conditions {
		// After a resume the condition is that of the last run.
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue && time.Since(condition.LastHeartbeatTime.Time) < heartbeat
		}
	}
	return false
}

func newClient(kubeconfig string) (*kubernetes.Clientset, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}
