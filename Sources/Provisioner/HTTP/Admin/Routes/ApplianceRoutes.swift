extension AdminRoutes {
  static let appliance: [AdminRoute] = [
    .route(.get, "info", .read, "Version, configuration, counts, and what DHCP found on the network.") { call in
      call.appliance.info()
    },
    .route(.get, "openapi.json", .read, "This document.") { _ in OpenAPI.document },
    .stream(
      "events", .read, "What happens, as it happens: one timeline event in each server-sent event.",
      query: [.text("node", "Only what this node does.")], type: "text/event-stream",
      words: "Server-sent events, the data of each a TimelineEvent; a comment every 15 s."
    ) { call in try EventStream.writing(call) },
  ]
}
