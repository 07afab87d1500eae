//! quadrature.
