package main

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// validity of certificates. The authority's key lives beside what it protects, so that renewing
// them sooner would gain nothing.
const validity = 10 * 365 * 24 * time.Hour

// user is somebody to the API server, with a kubeconfig where that has a path.
type user struct {
	name       string
	subject    pkix.Name
	kubeconfig string
}

// nodeAddresses are those of the real node, which may be none.
func (s *settings) nodeAddresses() []net.IP {
	if s.node.name == "" {
		return nil
	}
	return []net.IP{s.node.address}
}

// writePKI makes what is missing of the keys that must last (the authority's and the one that signs
// service account tokens), and anew all that follows from them.
func writePKI(s *settings, server string) error {
	if _, err := loadKey(s.path("pki", "sa.key")); err != nil {
		return err
	}
	ca, err := loadAuthority(s)
	if err != nil {
		return err
	}
	if _, _, err := ca.issue(s, "serving", x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: append(s.nodeAddresses(), net.IPv4(127, 0, 0, 1), net.IPv4(10, 0, 0, 1)), // loopback and the Service `kubernetes`
		DNSNames:    []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
	}); err != nil {
		return err
	}
	masters := []string{"system:masters"}
	users := []user{
		{"admin", pkix.Name{CommonName: "kubernetes-admin", Organization: masters}, s.path("kubeconfig")},
		{"kubelet-client", pkix.Name{CommonName: "kube-apiserver-kubelet-client", Organization: masters}, ""},
		{"kubelets", pkix.Name{CommonName: "simulated-kubelets", Organization: masters}, s.path("pki", "kubelets.kubeconfig")},
		{"scheduler", pkix.Name{CommonName: "system:kube-scheduler"}, s.path("pki", "scheduler.kubeconfig")},
		{"controller-manager", pkix.Name{CommonName: "system:kube-controller-manager"}, s.path("pki", "controller-manager.kubeconfig")},
	}
	if s.node.name != "" {
		if _, _, err := ca.issue(s, "node", x509.Certificate{
			Subject:     pkix.Name{CommonName: s.node.name},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
			IPAddresses: s.nodeAddresses(),
		}); err != nil {
			return err
		}
		users = append(users,
			user{"kubelet", pkix.Name{CommonName: "system:node:" + s.node.name, Organization: []string{"system:nodes"}}, s.path("pki", "node.kubeconfig")},
			user{"kube-proxy", pkix.Name{CommonName: "system:kube-proxy"}, s.path("pki", "kube-proxy.kubeconfig")},
			user{"dns", pkix.Name{CommonName: "system:korder-dns"}, s.path("pki", "dns.kubeconfig")},
		)
	}
	for _, user := range users {
		cert, key, err := ca.issue(s, user.name, x509.Certificate{
			Subject:     user.subject,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		})
		if err != nil {
			return err
		}
		if user.kubeconfig == "" {
			continue
		}
		if err := writeKubeconfig(user.kubeconfig, user.name, &clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key},
			&clientcmdapi.Cluster{Server: server, CertificateAuthorityData: encodeCert(ca.cert.Raw)}); err != nil {
			return err
		}
	}
	return nil
}

func writeKubeconfig(path, name string, user *clientcmdapi.AuthInfo, cluster *clientcmdapi.Cluster) error {
	config := clientcmdapi.NewConfig()
	config.Clusters["korder"] = cluster
	config.AuthInfos[name] = user
	config.Contexts["korder"] = &clientcmdapi.Context{Cluster: "korder", AuthInfo: name}
	config.CurrentContext = "korder"
	text, err := clientcmd.Write(*config)
	if err != nil {
		return err
	}
	return writeFile(path, text)
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// loadAuthority reads the authority, or makes and keeps one.
func loadAuthority(s *settings) (*authority, error) {
	key, err := loadKey(s.path("pki", "ca.key"))
	if err != nil {
		return nil, err
	}
	path := s.path("pki", "ca.crt")
	certs, err := certutil.CertsFromFile(path)
	if err == nil {
		return &authority{certs[0], key}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	cert, err := certutil.NewSelfSignedCACert(certutil.Config{CommonName: "korder-controlplane"}, key)
	if err != nil {
		return nil, err
	}
	return &authority{cert, key}, writeFile(path, encodeCert(cert.Raw))
}

// issue makes a key and a certificate for it, and writes them as `pki/NAME.key` and `pki/NAME.crt`.
func (ca *authority) issue(s *settings, name string, template x509.Certificate) (certPEM, keyPEM []byte, err error) {
	if keyPEM, err = keyutil.MakeEllipticPrivateKeyPEM(); err != nil {
		return nil, nil, err
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, nil, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(validity)
	der, err := x509.CreateCertificate(rand.Reader, &template, ca.cert, key.Public(), ca.key)
	if err != nil {
		return nil, nil, err
	}
	certPEM = encodeCert(der)
	return certPEM, keyPEM, errors.Join(
		writeFile(s.path("pki", name+".crt"), certPEM),
		writeFile(s.path("pki", name+".key"), keyPEM),
	)
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certutil.CertificateBlockType, Bytes: der})
}

// loadKey reads a key, or makes and keeps one.
func loadKey(path string) (crypto.Signer, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if text, err = keyutil.MakeEllipticPrivateKeyPEM(); err == nil {
			err = writeFile(path, text)
		}
	}
	if err != nil {
		return nil, err
	}
	key, err := parseKey(text)
	if err != nil {
		return nil, fmt.Errorf("read `%s`: %w", path, err)
	}
	return key, nil
}

func parseKey(text []byte) (crypto.Signer, error) {
	key, err := keyutil.ParsePrivateKeyPEM(text)
	if err != nil {
		return nil, err
	}
	return key.(crypto.Signer), nil
}

// writeFile replaces a file as a whole, readable by its owner only: a killed process leaves the old
// content or the new one.
func writeFile(path string, content []byte) error {
	next := path + ".new"
	if err := os.WriteFile(next, content, 0o600); err != nil {
		return err
	}
	return os.Rename(next, path)
}
