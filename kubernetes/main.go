// korder-controlplane is a Kubernetes in one process: etcd, kube-apiserver and
// kube-controller-manager as upstream makes them, and KWOK, which plays the kubelet of simulated
// nodes. kube-scheduler runs as a child process of the same binary, because it ends its whole
// process when it loses its lease.
//
// Everything listens on loopback, or for the sake of a real node (see node/) on all addresses of the
// network namespace that the node has for itself, and keeps its state below one directory:
//
//	kubeconfig            the administrator's access, mode 0600
//	pki/                  certificate authority, keys, the components' kubeconfigs
//	etcd/                 the objects
//	logs/                 a file for each component
//	api-port              the API server's port, kept over restarts
//	kubelet-port          the simulated kubelets' port, kept over restarts
//	lock                  locked while a control plane runs on this directory
//	scheduler.pid         the scheduler that runs now
//	volume-plugins/       empty; the controller manager wants it
//
// It runs as long as its standard input stays open, so that it never outlives whoever started it,
// and stops in order on SIGTERM or SIGINT. When Kubernetes answers, one line of JSON goes to
// standard output (type readiness). After SIGKILL it resumes from what etcd has. It exits with 3
// where another one runs on the directory, with 4 where its port is taken, with 1 otherwise.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"k8s.io/apiserver/pkg/util/compatibility"
)

// stopTimeout bounds an orderly stop. kube-apiserver waits a minute for requests in flight, and every
// open watch is one; what it has acknowledged is on disk, so that the process can just as well end.
const stopTimeout = 3 * time.Second

// settings are the command line.
type settings struct {
	dataDir       string
	port          int
	unsafeNoFsync bool
	podLogs       podLogs
	node          realNode
}

// realNode is the node whose kubelet runs beside the control plane; without a name there is none.
type realNode struct {
	name    string
	address net.IP
}

// path names a file in the data directory.
func (s *settings) path(elem ...string) string {
	return filepath.Join(append([]string{s.dataDir}, elem...)...)
}

// address is where clients reach the API server.
func (s *settings) address() string {
	if s.node.name == "" {
		return loopback
	}
	return s.node.address.String()
}

// listenAddress is what it listens on.
func (s *settings) listenAddress() string {
	if s.node.name == "" {
		return loopback
	}
	return "0.0.0.0"
}

// readiness is what the parent is told when Kubernetes answers.
type readiness struct {
	Server      string `json:"server"`
	Kubeconfig  string `json:"kubeconfig"`
	KubeletPort int    `json:"kubeletPort"`
	Pid         int    `json:"pid"`
}

func main() {
	var err error
	if len(os.Args) > 1 && os.Args[1] == schedulerCommand {
		err = runScheduler(os.Args[2:])
	} else {
		err = runControlPlane(os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "korder-controlplane:", err)
		os.Exit(exitCode(err))
	}
}

// exitCode tells the parent apart what it can explain better than this program.
func exitCode(err error) int {
	switch {
	case errors.Is(err, errLocked):
		return 3
	case errors.Is(err, syscall.EADDRINUSE):
		return 4
	default:
		return 1
	}
}

func runControlPlane(args []string) error {
	s := &settings{podLogs: podLogs{}}
	flags := flag.NewFlagSet("korder-controlplane", flag.ExitOnError)
	flags.StringVar(&s.dataDir, "data-dir", "", "directory of all state, made if missing")
	flags.IntVar(&s.port, "port", 0, "port of the API server; 0 is the one used last, or else any that is free")
	flags.BoolVar(&s.unsafeNoFsync, "unsafe-no-fsync", false, "do not wait for the disk: for tests, whose state may be lost with the machine")
	flags.StringVar(&s.node.name, "node", "", "name of the real node that this runs on; its kubelet, kube-proxy and CoreDNS get kubeconfigs")
	flags.TextVar(&s.node.address, "node-address", net.IP{}, "that node's address, on which others reach the API server")
	flags.Var(s.podLogs, "pod-log", "`NAMESPACE/PREFIX=FILE`, repeatable: the file, in CRI format, that is the log of pods on simulated nodes whose names start like this")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if s.dataDir == "" {
		return errors.New("`-data-dir` is missing")
	}
	if (s.node.name == "") != (len(s.node.address) == 0) {
		return errors.New("`-node` and `-node-address` go together")
	}
	var err error
	if s.dataDir, err = filepath.Abs(s.dataDir); err != nil {
		return fmt.Errorf("resolve `-data-dir`: %w", err)
	}
	for _, dir := range []string{s.dataDir, s.path("pki"), s.path("logs")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make data directory: %w", err)
		}
	}
	// The variable keeps the file reachable: collected, it would be closed and the lock be gone.
	lock, err := lockDataDir(s)
	if err != nil {
		return err
	}
	defer lock.Close()

	logTo(s.path("logs", "kubernetes.log"))
	return serve(untilStopped(), s)
}

// serve runs Kubernetes until ctx ends or a part of it fails. The parts start in the order of their
// needs and stop in the reverse one: an API server whose etcd has gone would hang for minutes.
func serve(ctx context.Context, s *settings) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)

	apiListener, err := listen(s.path("api-port"), s.listenAddress(), s.port)
	if err != nil {
		return fmt.Errorf("listen for the API server: %w", err)
	}
	kubeletListener, err := listen(s.path("kubelet-port"), loopback, 0)
	if err != nil {
		return fmt.Errorf("listen for the simulated kubelets: %w", err)
	}
	server := "https://" + net.JoinHostPort(s.address(), strconv.Itoa(portOf(apiListener)))
	if err := writePKI(s, server); err != nil {
		return fmt.Errorf("write keys and kubeconfigs: %w", err)
	}
	etcd, err := startEtcd(s)
	if err != nil {
		return fmt.Errorf("start etcd: %w", err)
	}
	defer etcd.Close()

	// Both register feature gates in one registry, which can be set only once, after both. The controller manager of 1.34
	// changes a default, which it may only while nobody has registered.
	controllers, err := newControllerManager(s)
	if err != nil {
		return fmt.Errorf("configure kube-controller-manager: %w", err)
	}
	apiServer, err := newAPIServer(s, apiListener, etcd.endpoint)
	if err != nil {
		return fmt.Errorf("configure kube-apiserver: %w", err)
	}
	if err := compatibility.DefaultComponentGlobalsRegistry.Set(); err != nil {
		return fmt.Errorf("set feature gates: %w", err)
	}

	apiDone := start(fail, "kube-apiserver", apiServer.run)
	defer apiDone()
	if err := apiServer.waitReady(ctx); err != nil {
		return stopReason(ctx, err)
	}
	schedulerDone := start(fail, "kube-scheduler", s.superviseScheduler)
	defer schedulerDone()
	controllersDone := start(fail, "kube-controller-manager", controllers.run)
	defer controllersDone()
	kubeletsDone := start(fail, "simulated kubelets", func(ctx context.Context) error {
		return runKubelets(ctx, s, kubeletListener)
	})
	defer kubeletsDone()

	ready := readiness{server, s.path("kubeconfig"), portOf(kubeletListener), os.Getpid()}
	if err := json.NewEncoder(os.Stdout).Encode(ready); err != nil {
		return fmt.Errorf("report readiness: %w", err)
	}
	<-ctx.Done()
	time.AfterFunc(stopTimeout, func() {
		if stopReason(ctx, nil) != nil {
			os.Exit(1)
		}
		os.Exit(0)
	})
	return stopReason(ctx, nil)
}

// start runs a part of Kubernetes in the background. What it returns stops that part and waits for
// its end. A part that ends by itself has failed, and so has the whole.
func start(fail context.CancelCauseFunc, name string, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := run(ctx); ctx.Err() == nil {
			fail(fmt.Errorf("%s ended: %v", name, err))
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// stopReason is nil where the user or the parent asked for the stop, else what failed.
func stopReason(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	switch {
	case errors.Is(cause, errStopRequested):
		return nil
	case cause != nil:
		return cause
	default:
		return err
	}
}

var errLocked = errors.New("another control plane runs there")

// lockDataDir makes sure that no second control plane runs on the same data.
func lockDataDir(s *settings) (*os.File, error) {
	lock, err := os.OpenFile(s.path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("lock `%s`: %w: %w", s.dataDir, errLocked, err)
	}
	return lock, nil
}
