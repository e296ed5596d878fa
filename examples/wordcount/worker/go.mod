module wordcount.example/worker

go 1.26
