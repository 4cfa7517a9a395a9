//! Access logs: to a file or to standard output, as text or JSON.

use std::sync::Arc;

use envoy_types::pb::{
    envoy::{
        config::{
            accesslog::v3::{AccessLog, access_log::ConfigType},
            core::v3::{SubstitutionFormatString, data_source::Specifier, substitution_format_string::Format},
        },
        extensions::access_loggers::{
            file::v3::{FileAccessLog, file_access_log::AccessLogFormat},
            stream::v3::{StdoutAccessLog, stdout_access_log},
        },
    },
    google::protobuf::{Struct, value::Kind},
};

use super::{At, Result, decode, is, named, refuse, type_name};
use crate::listener::{AccessLogSpec, LogFormat};

/// Envoy's format where none is given ("Default format string").
const DEFAULT_FORMAT: &str = concat!(
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% ",
    "%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" ",
    "\"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n"
);

/// At most one log.
pub(crate) fn from_wire(wire: &[AccessLog]) -> Result<Option<Arc<AccessLogSpec>>> {
    match wire {
        [] => Ok(None),
        [one] => spec(one).at_index("access_log", 0).map(|spec| Some(Arc::new(spec))),
        [_, ..] => refuse("more than one log is not supported in this release").at("access_log"),
    }
}

fn spec(wire: &AccessLog) -> Result<AccessLogSpec> {
    if wire.filter.is_some() {
        return refuse("is not supported in this release").at("filter");
    }
    let Some(ConfigType::TypedConfig(config)) = &wire.config_type else {
        return refuse("expected a file access log").at("typed_config");
    };
    if is::<FileAccessLog>(config) {
        decode(&config.value).and_then(|file| file_log(&file)).at("typed_config")
    } else if is::<StdoutAccessLog>(config) {
        decode(&config.value).and_then(|stdout| stdout_log(&stdout)).at("typed_config")
    } else {
        refuse(format!("expected a file access log, found `{}`", type_name(config))).at("typed_config")
    }
}

fn file_log(wire: &FileAccessLog) -> Result<AccessLogSpec> {
    let format = match &wire.access_log_format {
        None => LogFormat::Text(DEFAULT_FORMAT.into()),
        Some(AccessLogFormat::Format(text)) => LogFormat::Text(text.as_str().into()),
        Some(AccessLogFormat::JsonFormat(fields)) => json(fields).at("json_format")?,
        Some(AccessLogFormat::TypedJsonFormat(fields)) => json(fields).at("typed_json_format")?,
        Some(AccessLogFormat::LogFormat(format)) => substitution(format).at("log_format")?,
    };
    Ok(AccessLogSpec { path: named("path", &wire.path)?.into(), format })
}

fn stdout_log(wire: &StdoutAccessLog) -> Result<AccessLogSpec> {
    let format = match &wire.access_log_format {
        None => LogFormat::Text(DEFAULT_FORMAT.into()),
        Some(stdout_access_log::AccessLogFormat::LogFormat(format)) => substitution(format).at("log_format")?,
    };
    Ok(AccessLogSpec { path: "/dev/stdout".into(), format })
}

fn substitution(wire: &SubstitutionFormatString) -> Result<LogFormat> {
    match &wire.format {
        None => Ok(LogFormat::Text(DEFAULT_FORMAT.into())),
        Some(Format::TextFormat(text)) => Ok(LogFormat::Text(text.as_str().into())),
        Some(Format::JsonFormat(fields)) => json(fields).at("json_format"),
        Some(Format::TextFormatSource(source)) => match &source.specifier {
            Some(Specifier::InlineString(text)) => Ok(LogFormat::Text(text.as_str().into())),
            _ => refuse("expected inline_string").at("text_format_source"),
        },
    }
}

/// Keys in alphabetical order: protobuf maps have none of their own.
fn json(wire: &Struct) -> Result<LogFormat> {
    let mut fields = Vec::with_capacity(wire.fields.len());
    for (key, value) in &wire.fields {
        let format: Box<str> = match &value.kind {
            Some(Kind::StringValue(text)) => text.as_str().into(),
            Some(Kind::NumberValue(number)) => number.to_string().into(),
            Some(Kind::BoolValue(flag)) => flag.to_string().into(),
            _ => return refuse("expected a format string").at(key),
        };
        fields.push((Box::from(key.as_str()), format));
    }
    fields.sort_unstable();
    Ok(LogFormat::Json(fields))
}
