// The seed counts the words that it is given, where they have not been counted before.
package main

import (
	"context"
	"log"
	"os"
	"strconv"

	"wordcount.example/worker/redis"
)

func main() {
	if err := seed(os.Getenv("REDIS_ADDRESS"), os.Args[1:]); err != nil {
		log.Fatal(err)
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
