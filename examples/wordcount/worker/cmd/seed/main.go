// The seed counts the words that it is given, where they have not been counted before.
package main

import (
	"context"
	"log"
	"os"
	"strconv"
	"time"

	"wordcount.example/worker/redis"
)

// How long Redis is waited for. A pod that fails is made again by its Job only after ten seconds, and then twenty.
const deadline = 60 * time.Second

func main() {
	address, end := os.Getenv("REDIS_ADDRESS"), time.Now().Add(deadline)
	for {
		err := seed(address, os.Args[1:])
		if err == nil {
			return
		}
		if time.Now().After(end) {
			log.Fatalf("Redis at %s did not take the words within %v: %v", address, deadline, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func seed(address string, words []string) error {
	connection, err := redis.Dial(context.Background(), address)
	if err != nil {
		return err
	}
	defer connection.Close()
	counts := map[string]int{}
	for _, word := range words {
		counts[word]++
	}
	for word, count := range counts {
		if _, err := connection.Call("HSETNX", "words", word, strconv.Itoa(count)); err != nil {
			return err
		}
	}
	log.Printf("%d words are there", len(counts))
	return nil
}
