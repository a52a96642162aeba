//! Does one thing per path, so that a test picks what it wants to see.

use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel, MetricType, Status};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Trace);
    proxy_wasm::set_root_context(|_| Box::new(Root { configuration: String::new(), counter: 0, queue: 0 }));
}}

struct Root {
    configuration: String,
    counter: u32,
    queue: u32,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let configuration = self.get_plugin_configuration().unwrap_or_default();
        self.configuration = String::from_utf8(configuration).unwrap_or_default();
        if self.configuration == "refuse" {
            log::error!("the field `answer` is missing");
            return false;
        }
        self.set_tick_period(Duration::from_millis(250));
        self.counter = hostcalls::define_metric(MetricType::Counter, "seen").unwrap();
        self.queue = self.register_shared_queue("work");
        true
    }

    fn on_tick(&mut self) {
        log::info!("tick of {}", self.configuration);
    }

    fn on_queue_ready(&mut self, queue: u32) {
        while let Ok(Some(entry)) = self.dequeue_shared_queue(queue) {
            log::info!("from the queue: {}", String::from_utf8_lossy(&entry));
        }
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream {
            configuration: self.configuration.clone(),
            counter: self.counter,
            queue: self.queue,
            path: String::new(),
            call: None,
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream {
    configuration: String,
    counter: u32,
    queue: u32,
    path: String,
    call: Option<u32>,
}

impl Stream {
    /// Counts in shared data until nobody else was faster.
    fn count(&self) -> u32 {
        loop {
            let (value, version) = self.get_shared_data("count");
            let count = value.map_or(0, |bytes| u32::from_le_bytes(bytes.try_into().unwrap())) + 1;
            match self.set_shared_data("count", Some(&count.to_le_bytes()), version) {
                Ok(()) => return count,
                Err(Status::CasMismatch) => log::info!("somebody else was faster"),
                Err(status) => panic!("{status:?}"),
            }
        }
    }
}

impl Context for Stream {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body_size: usize, trailers: usize) {
        assert_eq!(Some(token), self.call);
        let status = self.get_http_call_response_header(":status").unwrap_or_default();
        let body = self.get_http_call_response_body(0, body_size).unwrap_or_default();
        let all = self.get_http_call_response_headers();
        log::info!("{headers} {} {trailers} {status} {}", all.len(), String::from_utf8_lossy(&body));
        self.add_http_request_header("x-answer", &status);
        self.resume_http_request();
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _fields: usize, _end: bool) -> Action {
        self.path = self.get_http_request_header(":path").unwrap_or_default();
        hostcalls::increment_metric(self.counter, 1).unwrap();
        match self.path.as_str() {
            "/headers" => {
                let all = self.get_http_request_headers();
                self.add_http_request_header("x-count", &all.len().to_string());
                self.set_http_request_header("x-configuration", Some(&self.configuration));
                self.set_http_request_header("x-secret", None);
                assert_eq!(self.get_http_request_header("x-secret"), None);
            }
            "/reply" => {
                self.send_http_response(403, vec![("x-why", "because")], Some(b"no"));
                return Action::Pause;
            }
            "/call" => {
                let headers = vec![(":method", "GET"), (":path", "/key"), (":authority", "keys")];
                let call = self.dispatch_http_call("keys", headers, Some(b"?"), vec![], Duration::from_secs(1));
                self.call = Some(call.unwrap());
                return Action::Pause;
            }
            "/call-nobody" => {
                let refused = self.dispatch_http_call("nobody", vec![], None, vec![], Duration::ZERO);
                log::info!("{refused:?}");
            }
            "/shared" => {
                let count = self.count();
                self.add_http_request_header("x-count", &count.to_string());
            }
            "/queue" => self.enqueue_shared_queue(self.queue, Some(b"job")).unwrap(),
            "/property" => {
                let id = self.get_property(vec!["request", "id"]).unwrap();
                let missing = self.get_property(vec!["nothing", "here"]);
                self.set_property(vec!["seen"], Some(b"yes"));
                log::info!("{} {missing:?}", String::from_utf8_lossy(&id));
            }
            "/panic" => panic!("on purpose"),
            _ => {}
        }
        Action::Continue
    }

    fn on_http_request_body(&mut self, size: usize, end: bool) -> Action {
        if self.path != "/body" {
            return Action::Continue;
        }
        if !end {
            return Action::Pause;
        }
        let body = self.get_http_request_body(0, size).unwrap_or_default();
        let upper = body.to_ascii_uppercase();
        self.set_http_request_body(0, size, &upper);
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _fields: usize, _end: bool) -> Action {
        self.set_http_response_header("x-filter", Some("classic"));
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, _end: bool) -> Action {
        self.set_http_response_body(size, 0, b"!");
        Action::Continue
    }

    fn on_log(&mut self) {
        log::info!("log of {}", self.get_http_request_header(":path").unwrap_or_default());
    }
}
