// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/directory"
	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/policy"
)

// Limits of the server.
const (
	readTimeout  = 10 * time.Second
	writeTimeout = 30 * time.Second
	endTimeout   = 5 * time.Second
	maxHeader    = 8 << 10
	// late is after how many intervals without a build the server is not healthy.
	late = 3
)

func (a *app) serveCommand() *cobra.Command {
	o := &buildOptions{}
	var listen, metricsAt string
	var interval time.Duration
	cmd := &cobra.Command{
		Use: "serve", Short: "build again and again, and answer",
		Long: `Builds at once and then after every interval, and answers the paths that a site of
files has; a repository without bindings is answered at once, without a second
question. What is bound can be handed in with POST /hand-in, by anybody, so that no
forge can hide it; the next build lists it. /healthz says whether builds succeed. What is counted is for Prometheus, and
answered at another address, --metrics, under /metrics.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.serve(cmd.Context(), o, listen, metricsAt, interval)
		},
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8420", "`ADDRESS` to listen at")
	cmd.Flags().StringVar(&metricsAt, "metrics", "", "`ADDRESS` to answer /metrics at; nowhere by default")
	cmd.Flags().DurationVar(&interval, "interval", time.Hour, "between two builds")
	return cmd
}

// metrics are what the server counts.
type metrics struct {
	registry           *prometheus.Registry
	entries            *prometheus.CounterVec
	builds             *prometheus.CounterVec
	leaf, labels, last prometheus.Gauge
	seconds            prometheus.Histogram
	requests           *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	name := func(s string) string { return "repopolicy_directory_" + s }
	m.entries = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: name("entries_total"), Help: "Log entries that were read.",
	}, []string{"log"})
	m.builds = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: name("builds_total"), Help: "Builds, by the class of their outcome.",
	}, []string{"class"})
	m.leaf = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: name("leaf_index"), Help: "Index of the newest leaf of the output log.",
	})
	m.labels = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: name("labels"), Help: "Labels of all maps of the newest leaf.",
	})
	m.last = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: name("last_build_timestamp_seconds"), Help: "Time of the newest leaf.",
	})
	m.seconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: name("build_seconds"), Help: "How long builds took.", Buckets: prometheus.ExponentialBuckets(0.1, 4, 8),
	})
	m.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: name("requests_total"), Help: "Answers, by status.",
	}, []string{"code", "method"})
	m.registry.MustRegister(m.entries, m.builds, m.leaf, m.labels, m.last, m.seconds, m.requests)
	return m
}

func (m *metrics) built(h *directory.Head) error {
	leaf, err := answers.ParseDirectoryLeaf(h.Leaf)
	if err != nil {
		return err
	}
	labels := int64(0)
	for _, of := range leaf.Maps {
		labels += of.Labels
	}
	m.leaf.Set(float64(h.Index))
	m.labels.Set(float64(labels))
	m.last.Set(float64(leaf.Time.Unix()))
	return nil
}

func (a *app) serve(
	ctx context.Context, o *buildOptions, listen, metricsAt string, interval time.Duration,
) (err error) {
	if interval <= 0 {
		return faultf(policy.ClassUsage, "--interval: has to be positive")
	}
	if metricsAt != "" && metricsAt == listen {
		return faultf(policy.ClassUsage, "--metrics: the address of --listen is for everybody")
	}
	o.serve = true
	b, end, err := a.builder(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	m := newMetrics()
	b.Counted = func(log string, n int) { m.entries.WithLabelValues(log).Add(float64(n)) }
	server, err := directory.NewServer(b.Store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	if server.Intake, err = a.intake(b, o); err != nil {
		return err
	}
	if err := server.Advance(); err != nil && !errors.Is(err, directory.ErrUnfinished) {
		return err
	}
	var last atomic.Int64 // of the newest build that succeeded
	mux := http.NewServeMux()
	mux.Handle("/", promhttp.InstrumentHandlerCounter(m.requests, server))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if a.Now().Sub(time.Unix(last.Load(), 0)) > late*interval {
			http.Error(w, "no build succeeded of late", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return &fault{class: policy.ClassUsage, err: fmt.Errorf("--listen: %w", err)}
	}
	served := make(chan error, 2)
	if metricsAt != "" {
		mh, err := a.serveMetrics(m, metricsAt, served)
		if err != nil {
			return &fault{class: policy.ClassUsage, err: errors.Join(err, l.Close())}
		}
		defer mh.Close()
	}
	a.talk("listening at http://%s", l.Addr())
	h := serverOf(mux)
	go func() { served <- h.Serve(l) }()
	build := func() {
		if err := a.round(ctx, b, server, m); err == nil {
			last.Store(a.Now().Unix())
		} else if ctx.Err() == nil {
			a.failed(m, err)
		}
	}
	return every(ctx, interval, build, served, h)
}

// every builds again and again, until the service ends or is to end.
func every(ctx context.Context, interval time.Duration, build func(), served <-chan error, h *http.Server) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		build()
		select {
		case <-tick.C:
		case err := <-served:
			return err
		case <-ctx.Done():
			within, cancel := context.WithTimeout(context.Background(), endTimeout)
			defer cancel()
			return h.Shutdown(within)
		}
	}
}

func serverOf(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, MaxHeaderBytes: maxHeader}
}

// serveMetrics serves the metrics at an address of their own.
func (a *app) serveMetrics(m *metrics, address string, served chan<- error) (*http.Server, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	h := serverOf(mux)
	go func() { served <- h.Serve(l) }()
	a.talk("metrics at http://%s/metrics", l.Addr())
	return h, nil
}

// failed says why a build did not succeed, and counts it.
func (a *app) failed(m *metrics, err error) {
	f := a.classify(err)
	m.builds.WithLabelValues(f.class.String()).Inc()
	a.talk("error: %s", f.err)
	if f.hint != "" {
		a.talk("hint: %s", f.hint)
	}
}

// round makes one build and answers from it.
func (a *app) round(ctx context.Context, b *directory.Builder, s *directory.Server, m *metrics) error {
	start, idle := a.Now(), s.Idle()
	head, err := b.Build(ctx)
	if err != nil && s.Idle() { // nothing may have changed since it gave its state up
		if again := s.Advance(); !errors.Is(again, directory.ErrUnfinished) {
			err = errors.Join(err, again)
		}
	}
	if err != nil {
		return err
	}
	if s.Idle() && !idle {
		a.talk("note: the state has outgrown its map, and was not answered from while it was built; start the server again")
	}
	m.seconds.Observe(a.Now().Sub(start).Seconds())
	m.builds.WithLabelValues(policy.ClassOK.String()).Inc()
	return errors.Join(m.built(head), s.Advance(), a.summary(head))
}
