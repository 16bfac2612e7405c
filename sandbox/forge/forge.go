package forge

import "net/http"

type Forge struct{}

func Open(dir, url string, i any) (*Forge, error)                 { return &Forge{}, nil }
func (f *Forge) Close() error                                     { return nil }
func (f *Forge) Hide(ref string) func() error                     { return func() error { return nil } }
func (f *Forge) ServeHTTP(w http.ResponseWriter, r *http.Request) {}
