package main

import (
	"context"
	"crypto/tls"
	"embed"
	"errors"
	"fmt"
	"net"
	"net/http"

	"gopkg.in/natefinch/lumberjack.v2"
	certutil "k8s.io/client-go/util/cert"
	"sigs.k8s.io/kwok/pkg/apis/internalversion"
	"sigs.k8s.io/kwok/pkg/config"
	"sigs.k8s.io/kwok/pkg/kwok/controllers"
	"sigs.k8s.io/kwok/pkg/log"
)

// stages say what the simulated kubelets do with nodes and pods, a file for each step.
//
//go:embed stages/*.yaml
var stages embed.FS

// kubeletIdentity holds the nodes' leases. A fixed one lets a restarted control plane go on with
// nodes at once, where a new one would wait until the old lease has run out; the lock on the data
// directory keeps others away.
const kubeletIdentity = "korder-controlplane"

// runKubelets plays the kubelets of all nodes annotated `kwok.x-k8s.io/node: fake`, and of no other,
// until ctx ends. Their pods run without doing anything.
func runKubelets(ctx context.Context, s *settings, listener net.Listener) error {
	byKind, err := loadStages()
	if err != nil {
		return fmt.Errorf("load stages: %w", err)
	}
	client, err := newClient(s.path("pki", "kubelets.kubeconfig"))
	if err != nil {
		return err
	}
	logFile := &lumberjack.Logger{Filename: s.path("logs", "kubelets.log"), MaxSize: 16, MaxBackups: 1}
	ctx = log.NewContext(ctx, log.NewLogger(logFile, log.LevelWarn))
	controller, err := controllers.NewController(controllers.Config{
		TypedClient:                       client,
		ManageNodesWithAnnotationSelector: "kwok.x-k8s.io/node=fake",
		LocalStages:                       byKind,
		ID:                                kubeletIdentity,
		CIDR:                              "10.128.0.1/9",
		NodeIP:                            "127.0.0.1",
		NodePort:                          portOf(listener),
		NodeLeaseDurationSeconds:          40, // a real kubelet's
		NodeLeaseParallelism:              4,
		NodePlayStageParallelism:          4,
		PodPlayStageParallelism:           16,
		PodsOnNodeSyncParallelism:         4,
	})
	if err != nil {
		return err
	}
	if err := controller.Start(ctx); err != nil {
		return err
	}
	return serveKubeletAPI(ctx, s, listener)
}

func loadStages() (map[internalversion.StageResourceRef][]*internalversion.Stage, error) {
	byKind := map[internalversion.StageResourceRef][]*internalversion.Stage{}
	entries, err := stages.ReadDir("stages")
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		text, err := stages.ReadFile("stages/" + entry.Name())
		if err != nil {
			return nil, err
		}
		stage, err := config.UnmarshalWithType[*internalversion.Stage](text)
		if err != nil {
			return nil, fmt.Errorf("`%s`: %w", entry.Name(), err)
		}
		byKind[stage.Spec.ResourceRef] = append(byKind[stage.Spec.ResourceRef], stage)
	}
	return byKind, nil
}

// serveKubeletAPI answers what the API server asks of kubelets, and nobody but the API server: that
// is, for the logs of containers that have one.
func serveKubeletAPI(ctx context.Context, s *settings, listener net.Listener) error {
	clients, err := certutil.NewPool(s.path("pki", "ca.crt"))
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /containerLogs/{namespace}/{pod}/{container}", s.podLogs)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "this node is simulated: its containers don't run, so there is nothing to reach in them", http.StatusNotImplemented)
	})
	server := &http.Server{
		Handler:     mux,
		TLSConfig:   &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients},
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	err = server.ServeTLS(listener, s.path("pki", "serving.crt"), s.path("pki", "serving.key"))
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
