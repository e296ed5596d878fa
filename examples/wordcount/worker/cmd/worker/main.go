// The worker takes the texts that wait, and counts their words.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
	"unicode"

	"wordcount.example/worker/redis"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	address := os.Getenv("REDIS_ADDRESS")
	for ctx.Err() == nil {
		if err := work(ctx, address); err != nil && ctx.Err() == nil {
			log.Printf("Redis at %s: %v; trying again", address, err)
			time.Sleep(500 * time.Millisecond)
		}
	}
}

// work counts until the connection ends or the program is told to.
func work(ctx context.Context, address string) error {
	connection, err := redis.Dial(ctx, address)
	if err != nil {
		return err
	}
	defer connection.Close()
	defer context.AfterFunc(ctx, func() { connection.Close() })()
	for {
		// The list's name and the text; nothing where none came in a minute.
		found, err := connection.Call("BRPOP", "texts", "60")
		if err != nil {
			return err
		}
		if len(found) < 2 {
			continue
		}
		for _, word := range strings.FieldsFunc(strings.ToLower(found[1]), isBetween) {
			if _, err := connection.Call("HINCRBY", "words", word, "1"); err != nil {
				return err
			}
		}
	}
}

func isBetween(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }
