// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestTimeout: a run ends when its time is used up, however often it paused.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ctx, stop := WithTimeout(t.Context(), time.Minute)
		defer stop()
		for range 3 { // ten seconds of its own, an hour of others
			time.Sleep(10 * time.Second)
			one := Pause(ctx)
			two := Pause(ctx)
			time.Sleep(30 * time.Minute)
			one()
			one() // once is enough
			time.Sleep(30 * time.Minute)
			two()
		}
		if ctx.Err() != nil {
			t.Fatal("ended early")
		}
		<-ctx.Done()
		if got := time.Since(start); got != 3*time.Hour+time.Minute {
			t.Errorf("after %s", got)
		}
		var late *Late
		if !errors.As(context.Cause(ctx), &late) || late.Timeout != time.Minute {
			t.Errorf("%v", context.Cause(ctx))
		}
	})
}

func TestTimeoutStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := WithTimeout(t.Context(), 0)
		resume := Pause(ctx)
		stop()
		resume()
		var late *Late
		if ctx.Err() == nil || errors.As(context.Cause(ctx), &late) {
			t.Errorf("%v", context.Cause(ctx))
		}
		Pause(context.Background())() // without a clock there is none to stop
	})
}

func TestTimed(t *testing.T) {
	own, stop := WithTimeout(t.Context(), 0)
	defer stop()
	theirs, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if Timed(context.Background()) || !Timed(own) || !Timed(theirs) {
		t.Error("who has a time is not told from who has none")
	}
}
