package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/util/flushwriter"
	cri "k8s.io/cri-api/pkg/apis"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
)

// podLogs are the pods on simulated nodes that have a log, because somebody runs their program
// elsewhere: `namespace/prefix of the name`, and the file, in CRI format.
type podLogs map[string]string

// String is part of flag.Value.
func (l podLogs) String() string {
	return fmt.Sprint(map[string]string(l))
}

// Set is part of flag.Value.
func (l podLogs) Set(text string) error {
	pods, file, ok := strings.Cut(text, "=")
	if !ok || strings.Count(pods, "/") != 1 {
		return fmt.Errorf("`%s` is not of the form `NAMESPACE/PREFIX=FILE`", text)
	}
	l[pods] = file
	return nil
}

// find is the log of a pod, if it has one.
func (l podLogs) find(namespace, pod string) (file string, ok bool) {
	for pods, file := range l {
		if strings.HasPrefix(namespace+"/"+pod, pods) {
			return file, true
		}
	}
	return "", false
}

// ServeHTTP answers `kubectl logs` as a kubelet does.
func (l podLogs) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	pod := r.PathValue("pod")
	file, ok := l.find(r.PathValue("namespace"), pod)
	if !ok {
		// The API server passes the text on for this status.
		http.Error(w, fmt.Sprintf("pod `%s` is on a simulated node, so it does nothing and has no log", pod), http.StatusBadRequest)
		return
	}
	var asked corev1.PodLogOptions
	if err := legacyscheme.ParameterCodec.DecodeParameters(r.URL.Query(), corev1.SchemeGroupVersion, &asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	out := flushwriter.Wrap(w)
	if err := readLogs(r.Context(), file, &asked, out); err != nil && r.Context().Err() == nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// alwaysRunning is the container runtime as far as reading logs needs one: it never says that a
// container has ended, so that whoever follows a log keeps waiting for more.
type alwaysRunning struct{ cri.RuntimeService }

// ContainerStatus is part of cri.RuntimeService.
func (alwaysRunning) ContainerStatus(context.Context, string, bool) (*runtime.ContainerStatusResponse, error) {
	return nil, status.Error(codes.Unavailable, "there is no container runtime")
}
