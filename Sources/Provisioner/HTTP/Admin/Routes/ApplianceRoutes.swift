extension AdminRoutes {
  static let appliance: [AdminRoute] = [
    .route(.get, "info", .read, "Version, configuration, counts, and what DHCP found on the network.") { call in
      call.appliance.info()
    },
    .stream(
      "metrics", .read, "The appliance in figures.", type: "text/plain", words: "Prometheus's text format, 0.0.4."
    ) { call in
      let text = try call.appliance.metrics()
      return { write in try await write(Array(text.utf8)) }
    },
    .route(
      .get, "leases", .read, "Addresses that DHCP has given out, to nodes and to every other machine.",
      query: [.flag("all", "Those too whose time is over, and that are remembered.")]
    ) { call in
      call.appliance.leases(all: call.isSet("all"))
    },
    .route(.get, "registry", .read, "The whole registry as YAML: groups, nodes, and the capsules' digests.") { call in
      try call.appliance.exportRegistry()
    },
    .route(
      .post, "registry", .admin, "Make the registry what a YAML text says: all of it, or nothing.",
      body: ImportRegistry.self
    ) { call, request in
      try await call.appliance.importRegistry(request)
    }.reading(upTo: RegistryFile.sizeLimit * 2),
    .route(
      .get, "log", .read, "What was changed in the registry, by whom and when.",
      query: [.integer("count", 1...10_000, "The last so many; 1000 where it is not said.")]
    ) { call in
      call.appliance.changeLog(count: call.integer("count") ?? 1000)
    },
    .route(.get, "openapi.json", .read, "This document.") { _ in OpenAPI.document },
    .stream(
      "events", .read, "What happens, as it happens: one timeline event in each server-sent event.",
      query: [.text("node", "Only what this node does.")], type: "text/event-stream",
      words: "Server-sent events, the data of each a TimelineEvent; a comment every 15 s."
    ) { call in try EventStream.writing(call) },
  ]
}
