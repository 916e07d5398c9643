package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
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
)

// validity of certificates. The authority's key lives beside what it protects, so that renewing
// them sooner would gain nothing.
const validity = 10 * 365 * 24 * time.Hour

// authority signs certificates.
type authority struct {
	cert    *x509.Certificate
	certPEM []byte
	key     crypto.Signer
}

// writePKI makes what is missing of the keys that must last (the authority's and the one that signs
// service account tokens), and anew all that follows from them.
func writePKI(s *settings, server string) error {
	ca, err := loadAuthority(s)
	if err != nil {
		return err
	}
	// RSA, because every client library can verify RS256 tokens.
	if _, err := loadKey(s.path("pki", "sa.key"), func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) }); err != nil {
		return err
	}
	serving := x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 0, 0, 1)}, // loopback and the Service `kubernetes`
		DNSNames:    []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
	}
	if _, _, err := ca.issue(s, "serving", serving); err != nil {
		return err
	}
	masters := []string{"system:masters"}
	users := []struct {
		name       string
		subject    pkix.Name
		kubeconfig string
	}{
		{"admin", pkix.Name{CommonName: "kubernetes-admin", Organization: masters}, s.path("kubeconfig")},
		{"kubelet-client", pkix.Name{CommonName: "kube-apiserver-kubelet-client", Organization: masters}, ""},
		{"kubelets", pkix.Name{CommonName: "simulated-kubelets", Organization: masters}, s.path("pki", "kubelets.kubeconfig")},
		{"scheduler", pkix.Name{CommonName: "system:kube-scheduler"}, s.path("pki", "scheduler.kubeconfig")},
		{"controller-manager", pkix.Name{CommonName: "system:kube-controller-manager"}, s.path("pki", "controller-manager.kubeconfig")},
	}
	for _, user := range users {
		certPEM, keyPEM, err := ca.issue(s, user.name, x509.Certificate{
			Subject:     user.subject,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		})
		if err != nil {
			return err
		}
		if user.kubeconfig == "" {
			continue
		}
		config := clientcmdapi.NewConfig()
		config.Clusters["korder"] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: ca.certPEM}
		config.AuthInfos[user.name] = &clientcmdapi.AuthInfo{ClientCertificateData: certPEM, ClientKeyData: keyPEM}
		config.Contexts["korder"] = &clientcmdapi.Context{Cluster: "korder", AuthInfo: user.name}
		config.CurrentContext = "korder"
		text, err := clientcmd.Write(*config)
		if err != nil {
			return err
		}
		if err := writeFile(user.kubeconfig, text); err != nil {
			return err
		}
	}
	return nil
}

func loadAuthority(s *settings) (*authority, error) {
	key, err := loadKey(s.path("pki", "ca.key"), newKey)
	if err != nil {
		return nil, err
	}
	path := s.path("pki", "ca.crt")
	certPEM, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		template := &x509.Certificate{
			Subject:               pkix.Name{CommonName: "korder-controlplane"},
			IsCA:                  true,
			BasicConstraintsValid: true,
			KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		}
		if certPEM, err = sign(template, template, key.Public(), key); err == nil {
			err = writeFile(path, certPEM)
		}
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(certPEM)
	if block == nil {
		return nil, fmt.Errorf("`%s` holds no certificate", path)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	return &authority{cert, certPEM, key}, err
}

// issue makes a key and a certificate for it, as `pki/NAME.key` and `pki/NAME.crt`.
func (ca *authority) issue(s *settings, name string, template x509.Certificate) (certPEM, keyPEM []byte, err error) {
	key, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	if certPEM, err = sign(&template, ca.cert, key.Public(), ca.key); err != nil {
		return nil, nil, err
	}
	if keyPEM, err = encodeKey(key); err != nil {
		return nil, nil, err
	}
	return certPEM, keyPEM, errors.Join(
		writeFile(s.path("pki", name+".crt"), certPEM),
		writeFile(s.path("pki", name+".key"), keyPEM),
	)
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(validity)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), err
}

func newKey() (crypto.Signer, error) {
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

// loadKey reads a key, or makes and keeps one where there is none.
func loadKey(path string, generate func() (crypto.Signer, error)) (crypto.Signer, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err := generate()
		if err != nil {
			return nil, err
		}
		if text, err = encodeKey(key); err != nil {
			return nil, err
		}
		return key, writeFile(path, text)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("`%s` holds no key", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read `%s`: %w", path, err)
	}
	return key.(crypto.Signer), nil
}

func encodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
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
