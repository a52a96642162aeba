//! What a guest may ask: one table. The union of all ABI versions stands under `env`, because no module can notice;
//! where versions behave differently, the function looks at the version.

mod buffers;
mod calls;
mod flow;
mod foreign;
mod maps;
mod metrics;
mod properties;
mod shared;
mod system;
mod wasi;

use wasmtime::{Engine, Linker};

use super::state::State;

pub(super) use wasi::Exit;

/// A function is offered under both names that WASI preview 1 has had.
pub(super) const WASI_MODULES: [&str; 2] = ["wasi_snapshot_preview1", "wasi_unstable"];

macro_rules! table {
    ($names:ident, $link:ident: $($name:literal => $function:path,)*) => {
        const $names: &[&str] = &[$($name),*];

        fn $link(linker: &mut Linker<State>, module: &str) -> wasmtime::Result<()> {
            $(linker.func_wrap(module, $name, $function)?;)*
            Ok(())
        }
    };
}

table! { PROXY, link_proxy:
    "proxy_log" => system::log,
    "proxy_get_log_level" => system::log_level,
    "proxy_get_current_time_nanoseconds" => system::now,
    "proxy_set_tick_period_milliseconds" => system::set_tick_period,
    "proxy_set_effective_context" => system::set_effective_context,
    "proxy_done" => system::done,
    "pthread_equal" => system::pthread_equal,
    "emscripten_notify_memory_growth" => system::memory_growth,
    "proxy_get_configuration" => buffers::configuration,
    "proxy_get_buffer_bytes" => buffers::bytes,
    "proxy_get_buffer_status" => buffers::status,
    "proxy_set_buffer_bytes" => buffers::set,
    "proxy_get_header_map_pairs" => maps::pairs,
    "proxy_set_header_map_pairs" => maps::set_pairs,
    "proxy_get_header_map_value" => maps::value,
    "proxy_add_header_map_value" => maps::add,
    "proxy_replace_header_map_value" => maps::replace,
    "proxy_remove_header_map_value" => maps::remove,
    "proxy_get_header_map_size" => maps::size,
    "proxy_continue_stream" => flow::resume,
    "proxy_close_stream" => flow::close,
    "proxy_continue_request" => flow::resume_request,
    "proxy_continue_response" => flow::resume_response,
    "proxy_clear_route_cache" => flow::clear_route_cache,
    "proxy_send_local_response" => flow::reply,
    "proxy_get_status" => calls::status,
    "proxy_http_call" => calls::http_call,
    "proxy_grpc_call" => calls::grpc_call,
    "proxy_grpc_stream" => calls::grpc_stream,
    "proxy_grpc_send" => calls::grpc_send,
    "proxy_grpc_cancel" => calls::grpc_end,
    "proxy_grpc_close" => calls::grpc_end,
    "proxy_get_shared_data" => shared::get,
    "proxy_set_shared_data" => shared::set,
    "proxy_register_shared_queue" => shared::register,
    "proxy_resolve_shared_queue" => shared::resolve,
    "proxy_enqueue_shared_queue" => shared::push,
    "proxy_dequeue_shared_queue" => shared::pop,
    "proxy_define_metric" => metrics::define,
    "proxy_increment_metric" => metrics::increment,
    "proxy_record_metric" => metrics::record,
    "proxy_get_metric" => metrics::value,
    "proxy_get_property" => properties::get,
    "proxy_set_property" => properties::set,
    "proxy_call_foreign_function" => foreign::call,
}

table! { WASI, link_wasi:
    "args_get" => wasi::args_get,
    "args_sizes_get" => wasi::args_sizes_get,
    "environ_get" => wasi::environ_get,
    "environ_sizes_get" => wasi::environ_sizes_get,
    "clock_time_get" => wasi::clock_time_get,
    "clock_res_get" => wasi::clock_res_get,
    "random_get" => wasi::random_get,
    "sched_yield" => wasi::sched_yield,
    "poll_oneoff" => wasi::poll_oneoff,
    "proc_exit" => wasi::proc_exit,
    "fd_write" => wasi::fd_write,
    "fd_read" => wasi::fd_read,
    "fd_seek" => wasi::fd_seek,
    "fd_close" => wasi::fd_close,
    "fd_fdstat_get" => wasi::fd_fdstat_get,
    "fd_fdstat_set_flags" => wasi::fd_fdstat_set_flags,
    "fd_filestat_get" => wasi::fd_filestat_get,
    "fd_prestat_get" => wasi::fd_prestat_get,
    "fd_prestat_dir_name" => wasi::fd_prestat_dir_name,
    "path_open" => wasi::path_open,
    "path_filestat_get" => wasi::path_filestat_get,
}

/// With every function of the table.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    link_proxy(&mut linker, "env")?;
    for module in WASI_MODULES {
        link_wasi(&mut linker, module)?;
    }
    Ok(linker)
}

/// Whether the table has such a function.
pub(crate) fn offers(module: &str, name: &str) -> bool {
    (module == "env" && PROXY.contains(&name)) || (WASI_MODULES.contains(&module) && WASI.contains(&name))
}
