"""A RabbitMQ cluster as Kubernetes objects: one builder a file, all named `<queue>-rabbitmq`."""
